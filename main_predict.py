"""Foretell a map of dust from neutral hydrogen.

python main_predict.py dataset=gas method=hi_linear
python main_predict.py --help
"""

from cmbml.core.app import main

if __name__ == "__main__":
    main("predict")
