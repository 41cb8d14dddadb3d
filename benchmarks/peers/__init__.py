"""Training and prediction without submillion: plain transformers and peft, SetFit, model2vec."""
