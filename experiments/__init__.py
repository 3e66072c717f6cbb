"""One file a question: a config literal and `main()`. Owns recipes and their data; defines no machinery."""
