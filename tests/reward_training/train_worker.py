"""One of several processes that train together, as a launcher starts it: train_worker.py OUT LABELS MODEL TRAINING."""

import sys

from isoflop.reward_training.train_model import train_model
from isoflop.reward_training.train_options import ModelOptions, ModelTraining

if __name__ == "__main__":
    out, labels, model, training = sys.argv[1:]
    known = {"ModelTraining": ModelTraining, "ModelOptions": ModelOptions}
    train_model(labels, model, out, eval(training, known), device="cpu")
