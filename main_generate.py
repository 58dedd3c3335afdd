"""Generate patches of dust that never was.

python main_generate.py dataset=demo method=dcgan
python main_generate.py --help
"""

from cmbml.core.app import main

if __name__ == "__main__":
    main("generate")
