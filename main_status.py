"""Say of a dataset what is made, what is stale, and what would make the rest.

python main_status.py dataset=demo
python main_status.py --help
"""

from cmbml.core.app import main

if __name__ == "__main__":
    main("status")
