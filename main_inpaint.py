"""Fill holes in maps of the CMB.

python main_inpaint.py dataset=demo method=constrained_realisation
python main_inpaint.py --help
"""

from cmbml.core.app import main

if __name__ == "__main__":
    main("inpaint")
