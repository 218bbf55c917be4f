"""`python -m zf_lightning`: the command line, from any folder."""

from zf_lightning.cli.main import main

if __name__ == "__main__":
    main()
