"""The ablation suite: does this change really help?"""
