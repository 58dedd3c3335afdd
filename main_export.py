"""Write what a method has learnt to a file that others can use.

python main_export.py dataset=demo method=cmbnncs to=cmbnncs.safetensors
python main_export.py --help
"""

from cmbml.core.app import main

if __name__ == "__main__":
    main("export")
