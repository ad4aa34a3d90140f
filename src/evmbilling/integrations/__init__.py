"""Hosts: what a web framework needs to mount billing. Each framework's package is a thin coat over ``http``."""
