"""Pretrained backbones: timm's models, their weights, what of them learns, and their features."""
