from .detection.predict import predict as predict
from .evaluation.scores import evaluate as evaluate
from .image import Image as Image
from .image import PixelSize as PixelSize
from .io import read_image as read_image
from .io import read_labels as read_labels
from .io import write_spots as write_spots
from .network.model import Model as Model
from .network.model import load_model as load_model
from .simulation.scenes import simulate as simulate
from .training.train import train as train

__version__: str
