"""Build a dataset: cosmologies, CMB maps, foregrounds, beams, noise, observations, masks.

python main_sims.py                                    a tiny dataset that needs no download
python main_sims.py --help                             what can be set
python main_sims.py scenario=nside64 plan_only=true    what a run would do
"""

from cmbml.core.app import main

if __name__ == "__main__":
    main("sims")
