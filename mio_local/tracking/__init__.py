"""A run's figures sent on to an experiment tracker, by the tracker's own library in a process of its own.

In: a run directory that grows. Out: the same figures by step in Trackio, W&B, MLflow or TensorBoard, and where to see
them. Nothing that happens here reaches the training.

In the run's folder it keeps tracked-NAME.json (the run there, and how far it was sent), tracker.log (what the library
printed), tracker.lock, and what the library itself puts there.
"""
