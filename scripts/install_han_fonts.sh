#!/bin/sh
# Install the seven Debian font packages (116 MB) from which the data set hanzi is drawn. Then run
#   crossbatch inspect --data glyphs --fonts /usr/share/fonts --script han
set -eu
apt-get install --yes --no-install-recommends \
  fonts-noto-cjk fonts-wqy-zenhei fonts-droid-fallback fonts-arphic-ukai fonts-arphic-uming fonts-babelstone-han \
  fonts-hanazono
