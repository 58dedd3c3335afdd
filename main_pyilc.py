"""Clean the observations of a dataset with the needlet ILC of the CMB-ML paper.

python main_pyilc.py dataset=demo
python main_pyilc.py --help
"""

from cmbml.core.app import main

if __name__ == "__main__":
    main("pyilc")
