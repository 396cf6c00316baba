#!/bin/sh
# Install nftables anew from what is installed, maintainer scripts included, as an upgrade does: no mirror is at hand.
set -eu
made=$(mktemp --directory)
mkdir "$made/DEBIAN"
form=''
for field in Package Version Architecture Maintainer; do
    form="$form$field: \${$field}\\n"
done
dpkg-query --show --showformat="${form}Description: \${binary:Summary}\\n" nftables >"$made/DEBIAN/control"
for script in preinst prerm postinst postrm; do
    if [ -f "/var/lib/dpkg/info/nftables.$script" ]; then
        cp "/var/lib/dpkg/info/nftables.$script" "$made/DEBIAN/$script"
    fi
done
dpkg --listfiles nftables | while read -r file; do
    if [ -f "$file" ]; then cp --parents --archive "$file" "$made"; fi
done
dpkg-deb --root-owner-group --build "$made" "$made.deb"
dpkg --install --force-confold "$made.deb"
rm -r "$made" "$made.deb"
