"""A licence is read as strictly as it is stated."""

import pytest

from rl.data.papers.licence import licence_of

HREF = '<license xmlns:x="y" x:href="{}"><license-p>{}</license-p></license>'
CC = "https://creativecommons.org/licenses/"
ZERO = "The waiver (http://creativecommons.org/publicdomain/zero/1.0/) applies to the data."


@pytest.mark.parametrize(
    ("licence", "name"),
    [
        (HREF.format(CC + "by/4.0/", "Open access."), "cc-by-4.0"),
        (HREF.format(CC + "by/4.0/", ZERO), "cc-by-4.0"),
        (HREF.format(CC + "by/4.0/", "For commercial or non-commercial use."), "cc-by-4.0"),
        (HREF.format(CC + "by/4.0/", "which permits non-commercial use"), "cc-by-nc-4.0"),
        (HREF.format(CC + "by-nc-nd/3.0/", "x"), "cc-by-nc-nd-3.0"),
        (HREF.format(CC + "by-sa/4.0/", "x"), "cc-by-sa-4.0"),
        (HREF.format("", f"See {CC}by-nc/4.0/."), "cc-by-nc-4.0"),
        (HREF.format("https://creativecommons.org/publicdomain/zero/1.0/", ""), "cc0"),
        (HREF.format("http://creativecommons.org/publicdomain/mark/1.0/", ""), "public-domain"),
        (HREF.format("", "under the Creative Commons Attribution License"), "cc-by"),
        (
            HREF.format("", "Creative Commons Attribution-NonCommercial-NoDerivs licence"),
            "cc-by-nc-nd",
        ),
        (HREF.format("", "Licensed CC BY-NC-ND."), "cc-by-nc-nd"),
        (HREF.format("", "This work is in the public domain in the USA."), "public-domain"),
        (
            HREF.format("", "PMC Open Access Subset, for research"),
            "PMC Open Access Subset, for research",
        ),
        ("<copyright-statement>All rights reserved.</copyright-statement>", "All rights reserved."),
        ("", "none"),
    ],
)
def test_a_licence_is_what_its_link_and_its_words_say(jats, article_of, licence, name):
    assert str(licence_of(article_of(jats("<body/>", licence=licence)))) == name


def test_the_licence_of_a_figure_is_not_the_articles(jats, article_of):
    inside = f"<permissions>{HREF.format(CC + 'by/4.0/', '')}</permissions>"
    body = f"<body><fig>{inside}</fig></body>"
    assert licence_of(article_of(jats(body, licence=""))).name == "none"
