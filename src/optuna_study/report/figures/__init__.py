"""Figures of a study, made with plotly when somebody asks for them; `kinds.py` lists them."""
