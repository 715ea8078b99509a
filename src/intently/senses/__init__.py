"""What a catalogue shows besides its texts: today its pictures.

`ImageEncoder` turns picture files into unit vectors with a pre-trained network, as `TextEncoder` does with
texts: cached by content, without torch once its graph is exported. `PictureFolder` finds the file that an
item names, inside one folder and nowhere else; nothing is fetched. `Joined` puts the vector of a text and
that of a picture into one space.

    pictures.py  finding a file, and its pixels    weights.py  the network's weights, checked
    image.py     ImageEncoder                      joined.py   texts and pictures in one vector
"""

from intently.senses.image import ImageEncoder
from intently.senses.joined import Joined
from intently.senses.pictures import PictureFolder

__all__ = ["ImageEncoder", "Joined", "PictureFolder"]
