#!/bin/sh
set -e
mkdir d
for i in $(seq 1 200); do echo "line $i" >d/$i.txt; done
tar czf d.tgz d
tar cJf d.txz d
tar --zstd -cf d.tzst d
zip -qr d.zip d
for archive in d.tgz d.txz d.tzst; do
    rm -r d
    tar xf $archive
done
rm -r d
unzip -q d.zip
[ "$(ls d | wc -l)" = 200 ]
