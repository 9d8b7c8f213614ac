gloss --version
