"""Clean the observations of a dataset with one method.

python main_clean.py dataset=demo method=control_channel
python main_clean.py --help
"""

from cmbml.core.app import main

if __name__ == "__main__":
    main("clean")
