"""The vocabulary of the pipeline: every axis and every product, declared once.

A stage says what it reads and writes by naming these constants; see `stages/sims/cmb.py` for a whole one.
"""

from cmbml.core.asset import Asset
from cmbml.core.space import Axis
from cmbml.handlers.array import Array
from cmbml.handlers.bandpower_file import BandpowerFile
from cmbml.handlers.figure import PdfFigure, PngFigure
from cmbml.handlers.healpix_map import HealpixMap, MapSamples
from cmbml.handlers.html_file import HtmlFile
from cmbml.handlers.mapped_array import MappedArray
from cmbml.handlers.patch_file import FieldFile, PatchFile
from cmbml.handlers.rows import Rows, StackFile
from cmbml.handlers.table import EcsvTable, FitsTable, SpectraTable
from cmbml.handlers.tensors import TensorFile
from cmbml.handlers.text import TextFile
from cmbml.handlers.velocity_cube import CubeFile
from cmbml.handlers.yaml_file import YamlFile
from cmbml.metrics.scores import WORDS

METHOD = Axis(0, "method")  # what cleaned a map
ARRAYS = Axis(1, "arrays")  # how simulations were made into arrays; methods may share it
SKY = Axis(2, "sky")  # a set of foregrounds; follows from the split and the simulation
COSMOLOGY = Axis(3, "cosmology")  # parameters of the universe; follows from the split and the simulation
SPLIT = Axis(4, "split")  # train, valid, test, ...
SIM = Axis(5, "sim")  # one realisation: sim0000, sim0001, ...
HOLES = Axis(7, "holes")  # where maps with holes come from
FREQ = Axis(6, "freq", "file")  # a frequency channel of the instrument

COSMOLOGY_PARAMETERS = Asset("parameters", YamlFile(), per=(COSMOLOGY,))
THEORY_SPECTRA = Asset("spectra", SpectraTable(), per=(COSMOLOGY,))  # lensed and unlensed C_l, uK_CMB^2

CMB_ALM = Asset("cmb_alm", Array(), per=(SPLIT, SIM))  # (n_comp, n_alm) complex64: T; or T, E, B; uK_CMB, no beam
CMB_MAP = Asset("cmb_map", HealpixMap(), per=(SPLIT, SIM))  # truth: no beam, uK_CMB

SKY_RECIPE = Asset("sky_recipe", YamlFile(), per=(SKY,))  # all that it takes to make a sky: model, settings, seed
FOREGROUND_MAP = Asset("foreground_map", HealpixMap(), per=(SKY, FREQ))  # as a detector sees them; of skies kept

NOISE_STD_MAP = Asset("noise_std_map", HealpixMap(), per=(FREQ,))  # standard deviation per pixel
NOISE_MEAN_MAP = Asset("noise_mean_map", HealpixMap(), per=(FREQ,))  # the same in every realisation; mostly zero
NOISE_SPECTRUM = Asset("noise_spectrum", FitsTable(), per=(FREQ,))  # angular spectrum and its scatter

OBS_MAP = Asset("obs_map", HealpixMap(), per=(SPLIT, SIM, FREQ))  # beam * (CMB + foregrounds) + noise
NOISE_MAP = Asset("noise_map", HealpixMap(), per=(SPLIT, SIM, FREQ))  # the noise in OBS_MAP, for residual analysis

CMB_PATCHES = Asset("cmb_patches", PatchFile(), per=(SPLIT, SIM))  # truth under one channel's beam, uK_CMB
OBS_PATCHES = Asset("obs_patches", PatchFile(), per=(SPLIT, SIM, FREQ))  # patches that were drawn flat, uK_CMB
COMPONENT_SPECTRA = Asset("component_spectra_rows", FitsTable(), per=(SPLIT, SIM))  # D_l of each part of OBS_PATCHES

DUST_PATCHES = Asset("dust_patches", PatchFile(), per=(SPLIT, SIM))  # a set of patches, in the unit of their map

MASK = Asset("mask", HealpixMap(), per=())  # 1 keep, 0 leave out; one for the dataset
MASK_APODISED = Asset("mask_apodised", HealpixMap(), per=())  # the same with a soft edge

FEATURES = Asset("features", MappedArray(), per=(ARRAYS, SPLIT, SIM))  # (n_sample, n_channel, ...) float32, uK_CMB
TARGET = Asset("target", MappedArray(), per=(ARRAYS, SPLIT, SIM))  # what should be answered, a row per sample
FEATURE_PARTS = Asset(
    "feature_parts", MappedArray(), per=(ARRAYS, SPLIT, SIM)
)  # (n_sample, 2, ...): signal and noise in FEATURES
ARRAY_MOMENTS = Asset("array_moments", YamlFile(), per=(ARRAYS, SPLIT, SIM))  # of both, per channel
STATE = Asset("state", TensorFile(), per=(METHOD,))  # what a method has learnt
TRAINING_CURVE = Asset("training_curve", EcsvTable(), per=(METHOD,))  # a row per epoch
TRAINING = Asset("training", YamlFile(), per=(METHOD,))  # settings, losses, seconds
TRAINING_FIGURE = Asset("training_figure", PngFigure(), per=(METHOD,))
ANSWER = Asset("answer", MappedArray(), per=(METHOD, SPLIT, SIM))  # what a network says, shaped as TARGET
ANSWER_SIGMA = Asset(
    "answer_sigma", MappedArray(), per=(METHOD, SPLIT, SIM)
)  # how sure it is of that: standard deviation of the error, where it can tell
ANSWER_BANDPOWERS = Asset(
    "answer_bandpowers", BandpowerFile(), per=(METHOD, SPLIT, SIM)
)  # spectra of its samples, and how sure it is of these, where it can tell
ANSWER_TIME = Asset("answer_time", YamlFile(), per=(METHOD, SPLIT, SIM))  # how long that took

CLEANED_MAP = Asset("cleaned_map", FieldFile(), per=(METHOD, SPLIT, SIM))  # a method's answer: a map, or patches
SAMPLES = Asset("samples", MapSamples(), per=(METHOD, SPLIT, SIM))  # draws of what CLEANED_MAP may be
INFERENCE = Asset("inference", YamlFile(), per=(METHOD, SPLIT, SIM))  # how long that took, from which channels

HOLED_MAP = Asset("holed_map", HealpixMap(), per=(SPLIT, SIM, HOLES))  # a map that has holes, zero in them
HOLE_MASK = Asset("hole_mask", HealpixMap(), per=(SPLIT, SIM, HOLES))  # 1 where it is known, 0 in holes
HOLED_NOISE = Asset("holed_noise", HealpixMap(), per=(SPLIT, SIM, HOLES))  # standard deviation of its noise

HOLED_NOISE_SPECTRA = Asset(
    "holed_noise_spectra", Array(), per=(SPLIT, SIM, HOLES)
)  # (n_comp, lmax + 1) float64: that of the noise beyond white one, zero where there is none; uK_CMB^2

HI_CUBE = Asset("hi_cube", CubeFile(), per=(SKY,))  # brightness temperature of the 21 cm line by velocity, K
DUST_MAP = Asset("dust_map", HealpixMap(), per=(SKY,))  # the dust that it is to foretell
HI_MASK = Asset("hi_mask", HealpixMap(), per=(SKY,))  # where both are looked at: 1 keep, 0 leave out

SIGNAL_PART = Asset("signal_part", HealpixMap(), per=(METHOD, SPLIT, SIM))  # what the CMB became in CLEANED_MAP
FOREGROUND_PART = Asset("foreground_part", HealpixMap(), per=(METHOD, SPLIT, SIM))  # what foregrounds became in it
NOISE_PART = Asset("noise_part", HealpixMap(), per=(METHOD, SPLIT, SIM))  # what noise became in it
CHANCE_PART = Asset(
    "chance_part", HealpixMap(), per=(METHOD, SPLIT, SIM)
)  # what chance correlations with the CMB added to it, by a linear method's weights
UNCERTAINTY_MAP = Asset("uncertainty_map", FieldFile(), per=(METHOD, SPLIT, SIM))  # standard deviation of its error

BANDPOWERS = Asset(
    "bandpowers", BandpowerFile(), per=(METHOD, SPLIT, SIM)
)  # spectra of the patches of an answer, with their standard deviations
CALIBRATION = Asset("calibration", YamlFile(), per=(METHOD,))  # by what its standard deviations are multiplied

PREDICTION_ALM = Asset("prediction_alm", Array(), per=(METHOD, SPLIT, SIM))  # CLEANED_MAP's, its own beam still in
PREDICTION_SPEC = Asset(
    "prediction_spec", YamlFile(), per=(METHOD, SPLIT, SIM)
)  # what CLEANED_MAP was, and its SHA-256
PARAMETER_DERIVATIVES = Asset(
    "parameter_derivatives", SpectraTable(), per=()
)  # fiducial C_l, and how they change with parameters of the universe
MODE_COUPLING = Asset("mode_coupling", Array(), per=())  # what MASK_APODISED does to spectra
SCORES = Asset("scores", Rows(*WORDS), per=(METHOD, SPLIT, SIM))  # a row per footing, field, region and metric
SPECTRA_SCORES = Asset("spectra_scores", Rows("kind", "field"), per=(METHOD, SPLIT, SIM))  # a row per kind, field, bin
PARTS_RMS = Asset(
    "parts_rms", Rows("footing", "field", "part"), per=(METHOD, SPLIT, SIM)
)  # how large each part is, per footing
SHAPES = Asset(
    "shapes", Rows("field", "functional"), per=(METHOD, SPLIT, SIM)
)  # Minkowski functionals of truth, map and residual, a row per threshold
SHAPES_STACK = Asset("shapes_stack", StackFile(), per=(METHOD, SPLIT))  # SHAPES of all simulations
COMPONENT_ALM = Asset(
    "component_alm", Array(), per=(SKY,)
)  # (n_component, n_alm) complex64: each foreground by itself as one channel sees it, masked; uK_CMB
SCORE_STACK = Asset("score_stack", StackFile(), per=(METHOD, SPLIT))  # SCORES of all simulations
SPECTRA_STACK = Asset("spectra_stack", StackFile(), per=(METHOD, SPLIT))  # SPECTRA_SCORES of all simulations
PARTS_STACK = Asset("parts_stack", StackFile(), per=(METHOD, SPLIT))  # PARTS_RMS of all simulations
PARTS_SPECTRA = Asset("parts_spectra", EcsvTable(), per=(METHOD, SPLIT, SIM))  # and its spectrum
RESIDUAL_MEAN = Asset("residual_mean", HealpixMap(), per=(METHOD, SPLIT))  # mean error over simulations
SUMMARY = Asset("summary", EcsvTable(), per=(SPLIT,))  # a row per method, footing, field, region and metric
SUMMARY_CSV = Asset("summary_rows", TextFile(".csv"), per=(SPLIT,))  # SUMMARY again, for other programs
SUMMARY_MARKDOWN = Asset("summary_table", TextFile(".md"), per=(SPLIT,))  # its main part, to be read
SUMMARY_LATEX = Asset("summary_latex", TextFile(".tex"), per=(SPLIT,))  # the same, for a paper
BENCHMARK = Asset("benchmark", YamlFile(), per=(SPLIT,))  # whether the split is the frozen one that it is called after
VERDICT = Asset("verdict", YamlFile(), per=(SPLIT,))  # what SUMMARY comes to, in sentences
RESAMPLED = Asset(
    "resampled", YamlFile(), per=(SPLIT,)
)  # how sure scores of few skies are, from pieces of these drawn again: means, and paired differences
PARTS_SUMMARY = Asset("parts_summary", EcsvTable(), per=(SPLIT,))  # a row per method, footing and part of its error
BUNDLE = Asset(
    "bundle", TextFile(".json.gz"), per=(SPLIT,)
)  # scores of every simulation, with hashes, for others to check
GENERALISATION = Asset("generalisation", EcsvTable(), per=())  # how much worse each method is on another sky
GENERALISATION_CSV = Asset("generalisation_rows", TextFile(".csv"), per=())  # the same, for other programs
GENERALISATION_MARKDOWN = Asset("generalisation_table", TextFile(".md"), per=())  # its main part, to be read
SWEEP_CSV = Asset("sweep_rows", TextFile(".csv"), per=())  # a row per method: what differs in it, and how it did
SWEEP_MARKDOWN = Asset("sweep_table", TextFile(".md"), per=())  # the same, to be read
THEORY_BAND = Asset("theory_band", EcsvTable(), per=())  # D_l of the training cosmologies: mean and scatter

PREDICTION_FIGURE = Asset("prediction", PngFigure(), per=(METHOD, SPLIT, SIM))
PREDICTION_FIGURE_PDF = Asset("prediction_pdf", PdfFigure(), per=(METHOD, SPLIT, SIM))
DISTRIBUTIONS_FIGURE = Asset("distributions", PngFigure(), per=(SPLIT,))
DISTRIBUTIONS_FIGURE_PDF = Asset("distributions_pdf", PdfFigure(), per=(SPLIT,))
COMPARED_SPECTRA_FIGURE = Asset("compared_spectra", PngFigure(), per=(SPLIT,))
COMPARED_SPECTRA_FIGURE_PDF = Asset("compared_spectra_pdf", PdfFigure(), per=(SPLIT,))
TRANSFER_FIGURE = Asset("transfer", PngFigure(), per=(SPLIT,))
TRANSFER_FIGURE_PDF = Asset("transfer_pdf", PdfFigure(), per=(SPLIT,))
RESIDUAL_FIGURE = Asset("mean_residuals", PngFigure(), per=(SPLIT,))
RESIDUAL_FIGURE_PDF = Asset("mean_residuals_pdf", PdfFigure(), per=(SPLIT,))
PARTS_FIGURE = Asset("parts_figure", PngFigure(), per=(SPLIT,))  # spectra of the parts of errors
PARTS_FIGURE_PDF = Asset("parts_figure_pdf", PdfFigure(), per=(SPLIT,))
PARTS_PICTURE = Asset("parts_picture", TextFile(".json"), per=(SPLIT,))  # the same, for the report
GENERALISATION_FIGURE = Asset("generalisation_figure", PngFigure(), per=())
GENERALISATION_FIGURE_PDF = Asset("generalisation_figure_pdf", PdfFigure(), per=())
LEARNING_FIGURE = Asset("learning", PngFigure(), per=())  # the curves of all that have learnt
LEARNING_FIGURE_PDF = Asset("learning_pdf", PdfFigure(), per=())
SHAPES_FIGURE = Asset("shapes_figure", PngFigure(), per=(SPLIT,))  # Minkowski functionals of maps and residuals
SHAPES_FIGURE_PDF = Asset("shapes_figure_pdf", PdfFigure(), per=(SPLIT,))
FOREGROUNDS_FIGURE = Asset("foregrounds_left", PngFigure(), per=(SPLIT,))  # correlation of residuals with foregrounds
FOREGROUNDS_FIGURE_PDF = Asset("foregrounds_left_pdf", PdfFigure(), per=(SPLIT,))
REPORT = Asset("report", HtmlFile(), per=(SPLIT,))  # one page on a comparison

UNCERTAINTY_FIGURE = Asset("error_bars", PngFigure(), per=(SPLIT,))  # whether error bars are those of the errors
UNCERTAINTY_FIGURE_PDF = Asset("error_bars_pdf", PdfFigure(), per=(SPLIT,))
UNCERTAINTY_MARKDOWN = Asset("error_bars_table", TextFile(".md"), per=(SPLIT,))  # the same, to be read

RECOVERED_FIGURE = Asset("recovered", PngFigure(), per=(SPLIT,))  # spectra of patches over the true ones
RECOVERED_FIGURE_PDF = Asset("recovered_pdf", PdfFigure(), per=(SPLIT,))
RECOVERED_MARKDOWN = Asset("recovered_table", TextFile(".md"), per=(SPLIT,))  # the same, beside what was published
RECOVERED_PAGE = Asset("recovered_page", TextFile(".json"), per=(SPLIT,))  # both, for the report

PATCH_SCORES = Asset("patch_scores", FitsTable(), per=(METHOD, SPLIT, SIM))  # a row per patch: spectra, mean, rms
PATCH_MEAN_RESIDUALS = Asset("patch_residuals", Array(), per=(METHOD, SPLIT, SIM))  # sum of residuals in each band
PATCH_SUMMARY = Asset("patch_summary", EcsvTable(), per=(SPLIT,))  # a row per method and latitude band
PATCH_TABLE = Asset("patch_table", TextFile(".md"), per=(SPLIT,))  # the same, to be read, beside the paper's figures
PATCH_SPECTRA_FIGURE = Asset("patch_spectra", PngFigure(), per=(SPLIT,))
PATCH_RESIDUALS_FIGURE = Asset("patch_residual_spectra", PngFigure(), per=(SPLIT,))
PATCH_EXAMPLES = Asset("patch_examples", PngFigure(), per=(SPLIT,))

HOLE_PICTURES = Asset("hole_pictures", PngFigure(), per=(SPLIT,))  # holes as every method fills them
PAGE_PICTURES = Asset("page_pictures", TextFile(".json"), per=(SPLIT,))  # captions and pictures for the report's page

PAGE_PARTS = Asset("page_parts", TextFile(".json"), per=())  # pictures and tables for the pages of all splits
LATENT_FIGURE = Asset("latent_walks", PngFigure(), per=(METHOD,))  # patches between two draws
LATENT_TAIL_FIGURE = Asset("latent_tail", PngFigure(), per=(METHOD,))  # what wider draws do to the brightest pixels
POPULATION = Asset("population", EcsvTable(), per=())  # a row per generator, set of real patches and statistic
POPULATION_TABLE = Asset("population_table", TextFile(".md"), per=())  # the same in units of how far halves are apart
POPULATION_EXAMPLES = Asset("population_examples", PngFigure(), per=())  # real and generated patches
POPULATION_PIXELS = Asset("population_pixels", PngFigure(), per=())  # histograms of pixels
POPULATION_SPECTRA = Asset("population_spectra", PngFigure(), per=())  # log10 spectra with bands
POPULATION_SCALES = Asset("population_scales", PngFigure(), per=())  # distributions of power at three scales
POPULATION_SHAPES = Asset("population_shapes", PngFigure(), per=())  # Minkowski functionals with bands

CUTOUT_SCORES = Asset("cutout_scores", FitsTable(), per=(METHOD, SPLIT, SIM))  # a row per cutout: correlations
CORRELATION_TABLE = Asset("correlation_table", TextFile(".md"), per=(SPLIT,))  # of all methods, to be read
CORRELATION_SUMMARY = Asset("correlation_summary", EcsvTable(), per=(SPLIT,))  # the same, a row per method and half
CORRELATION_FIGURE = Asset("correlation", PngFigure(), per=(SPLIT,))  # by multipole, where was learnt and where not
WINS_FIGURE = Asset("wins", PngFigure(), per=(SPLIT,))  # cutout by cutout, against the integrated intensity
CUTOUTS_FIGURE = Asset("cutouts", PngFigure(), per=(SPLIT,))  # some of them

CHANNEL_WEIGHTS = Asset("channel_weights", EcsvTable(), per=(METHOD, SPLIT, SIM))  # of real maps, a row each
FIRST_HALF_MAP = Asset("cleaned_half_1", HealpixMap(), per=(METHOD, SPLIT, SIM))  # of one half of real data
SECOND_HALF_MAP = Asset("cleaned_half_2", HealpixMap(), per=(METHOD, SPLIT, SIM))  # of the other, weights the same
HALF_DIFFERENCE_MAP = Asset(
    "half_difference", HealpixMap(), per=(METHOD, SPLIT, SIM)
)  # half of what they differ by: noise as CLEANED_MAP has it
OBSERVED_SPECTRUM = Asset("observed_spectrum", EcsvTable(), per=(METHOD, SPLIT, SIM))  # TT of a cleaned map, D_l
OBSERVED_SPECTRUM_FIGURE = Asset("observed_spectrum_figure", PngFigure(), per=(METHOD, SPLIT, SIM))
OBSERVED_FIGURE = Asset("observed_map", PngFigure(), per=(METHOD, SPLIT, SIM))
WEIGHTS_FIGURE = Asset("weights_figure", PngFigure(), per=(METHOD, SPLIT, SIM))

COMPONENTS_FIGURE = Asset("components", PngFigure(), per=(SKY,))  # the same patch of every foreground
COMPONENT_SPECTRA_FIGURE = Asset("component_spectra", PngFigure(), per=(SKY,))
BEAMS_FIGURE = Asset("beams", PngFigure(), per=(SKY,))  # the same source in every channel
CHANNELS_FIGURE = Asset("channels", PngFigure(), per=(SKY,))  # spectrum of HI_CUBE, its integral, and the dust
MAPS_FIGURE = Asset("maps", PngFigure(), per=(SPLIT, SIM))
SPECTRA_FIGURE = Asset("power_spectra", PngFigure(), per=(SPLIT, SIM))
