"""Stub until the catalogue is there."""


class Catalogue:
    def __init__(self, *a): ...
    def forms(self):
        return []
