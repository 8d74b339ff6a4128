"""What an account must be allowed to do: for looking, and for the steps of each chapter.

Each chapter lists its own. From one list come the roles, the page about them, and what preflight
asks the API server before the first change.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
