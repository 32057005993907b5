"""The Open Inference Protocol, version 2, over REST: what clients of KServe, Triton and their like speak.

https://github.com/kserve/open-inference-protocol, with Triton's extension for tensors in binary:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""
