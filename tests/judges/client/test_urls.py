"""A URL may hold a user, a password and keys. Nothing that is printed or kept shows them."""

import traceback

import pytest

from judges import JudgeConfig
from judges.client.backends import resolve, shown


@pytest.mark.parametrize(
    "url",
    [
        "me:hunter2-secret@host:8000/v1",
        "https://me:hunter2-secret@:8000/v1",
        "https://me:hunter2-secret@host:port/v1",
        "https://me:hunter2/secret@host/v1",
        "https://me:hunter2?secret@host/v1",
        "https://me:[hunter2-secret@host/v1",
        "https://me:\u2100hunter2@host/v1",
        "https://:8000/v1?key=hunter2-secret",
        "https://me:hunter2@:8000/v1?next=https://secret",
        "https://me:***@host/v1?key=hunter2-secret",
    ],
)
def test_a_url_that_will_not_do_is_named_without_its_password_or_key(url):
    with pytest.raises(ValueError, match=r"^judge\.url is ") as caught:
        resolve(JudgeConfig(backend="custom", model="m", url=url))
    said = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in said
    assert "secret" not in said


def test_the_shortest_password_is_not_written_down():
    for_all = "custom:m@https://a:b@other/v1"
    config = JudgeConfig(url="https://me:pw@host/v1", panel=(for_all,), fallback=(for_all,))
    assert shown(config).url == "https://***@host/v1"
    assert shown(config).panel == shown(config).fallback == ("custom:m@https://***@other/v1",)
