"""Look whether every file of a dataset is what was written, and up to date.

python main_verify.py dataset=demo
python main_verify.py --help
"""

from cmbml.core.app import main

if __name__ == "__main__":
    main("verify")
