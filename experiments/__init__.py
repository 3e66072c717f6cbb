"""One file a question: a config literal and `main()`. Owns recipes and data, no machinery."""
