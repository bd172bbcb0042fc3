"""``python -m lightning_app`` does what ``lightning`` does."""

from lightning_app.main import main

if __name__ == "__main__":
    main()
