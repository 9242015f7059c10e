"""txqueue"""
