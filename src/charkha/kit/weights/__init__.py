"""Model and adapter files: GGUF, Hugging Face directories, PEFT adapters, and the conversions between them."""
