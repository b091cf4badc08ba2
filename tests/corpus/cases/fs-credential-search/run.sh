#!/bin/sh
. /cases/attempt.sh
count=0
for file in /root/.aws/credentials /root/.ssh/id_rsa /root/.kube/config /root/.docker/config.json \
    /root/.config/gcloud/credentials.db /var/run/secrets/kubernetes.io/serviceaccount/token /root/.netrc \
    /root/.git-credentials /root/.azure/accessTokens.json; do
    cat "$file" >/dev/null 2>&1
    attempted "$file" $?
    count=$((count + 1))
done
find / -xdev \( -name 'id_rsa*' -o -name '*.pem' -o -name credentials \) 2>/dev/null | head -3
grep -rlE 'AKIA[0-9A-Z]{16}|BEGIN (RSA|OPENSSH) PRIVATE KEY' /etc /root /home 2>/dev/null | head -3
effect "searched $count credential places"
finish
