"""Compare methods that have cleaned the same dataset: scores, spectra, figures, a report.

python main_analysis.py dataset=demo methods=[control_truth,control_channel,ilc_pixel]
python main_analysis.py --help
"""

from cmbml.core.app import main

if __name__ == "__main__":
    main("analysis")
