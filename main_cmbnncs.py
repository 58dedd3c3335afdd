"""Train cmbNNCS on a dataset, and clean its test split.

python main_cmbnncs.py dataset=demo
python main_cmbnncs.py --help
"""

from cmbml.core.app import main

if __name__ == "__main__":
    main("cmbnncs")
