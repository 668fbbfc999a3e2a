"""How text and numbers are written where people read them."""
