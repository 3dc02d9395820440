"""The door for ``python -m optuna_study``."""

from optuna_study.cli.main import main

if __name__ == "__main__":
    main()
