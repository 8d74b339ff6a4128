"""What an AWS account says about the mesh: read where `target.aws` asks for it, and then judged."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
