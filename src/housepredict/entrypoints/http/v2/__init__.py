"""The Open Inference Protocol (version 2, over REST), for clients that also work with KServe or Triton.

https://github.com/kserve/open-inference-protocol, with Triton's extension for binary tensors:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""
