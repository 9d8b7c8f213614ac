# Sourced, not run: $python of an environment with torch and transformers, and in $tmp tiny random models of two families,
# llama and gpt2, with the demo's tokenizer.
venv=${GLOSS_SPLICE_VENV:-build/venv-splice}
if [ ! -f "$venv/ready" ]; then
	python3 -m venv "$venv"
	pip() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: "$@"; }
	pip torch==2.13.0+cpu || pip torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu || pip torch==2.13.0
	pip transformers==5.24.0 safetensors numpy
	touch "$venv/ready"
fi
python=$(cd "$venv/bin" && pwd)/python
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error HF_HUB_DISABLE_PROGRESS_BARS=1 PYTHONWARNINGS=ignore OMP_NUM_THREADS=2

"$python" - "$tmp" <<'END_PYTHON'
import sys
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

tmp = sys.argv[1]
tokenizer = PreTrainedTokenizerFast(tokenizer_file="demo/data/tokenizer.json", eos_token="<|im_end|>")
tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{m['role']}}\n{{m['content']}}<|im_end|>\n{% endfor %}"
torch.manual_seed(0)
sizes = dict(vocab_size=49152, hidden_size=48, intermediate_size=64, num_hidden_layers=3, initializer_range=0.3)
models = {"llama": LlamaForCausalLM(LlamaConfig(num_attention_heads=6, num_key_value_heads=2, **sizes))}
models["gpt2"] = GPT2LMHeadModel(GPT2Config(vocab_size=49152, n_embd=48, n_layer=3, n_head=4, initializer_range=0.3))
for name, model in models.items():
    model.save_pretrained(f"{tmp}/{name}")
    tokenizer.save_pretrained(f"{tmp}/{name}")
END_PYTHON
