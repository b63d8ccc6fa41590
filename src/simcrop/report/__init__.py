"""Report text before it becomes tensors."""
