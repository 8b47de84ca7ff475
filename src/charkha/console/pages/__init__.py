"""The pages: one module, one template and one test each."""
