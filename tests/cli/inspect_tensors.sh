# Tensor files as lists: what torch and NumPy save, and what of theirs is refused.
cd "$GLOSS_SOURCE/tests/data" || exit 1
gloss inspect values.pt
gloss inspect state_dict.pt --json
gloss inspect --tensors arrays.npz arrays_compressed.npz tensor.pt
gloss inspect module.pt
gloss inspect legacy.pt
gloss inspect --tensors make_tensor_files.py
gloss inspect --tensors none.pt
