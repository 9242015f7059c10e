"""What decides whether a frame may enter the ring: is it valid, and is there room for its effects?"""
