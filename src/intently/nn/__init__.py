"""Neural parts that know no shop: tensors in, tensors out.

`losses` has the softmax over the whole catalogue in bounded memory, `layers` causal self-attention over
packed sequences (no padding), `training` the training loop of next-item models, `finetuning` that of
language models (`checkpoint`: where it stands, `tracking`: its curves), `inference` the same attention in
numpy, so that a trained model answers without torch. Nothing is imported here: torch loads on first use.
"""
