"""Train and look inside convolutional networks: `python main.py --help`, README.md, conf/."""

from zf_lightning.cli.main import main

if __name__ == "__main__":
    main()
