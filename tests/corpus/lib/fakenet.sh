#!/bin/sh
# The far side of cases that need one: in a network namespace without any way out, every address that a case aims at is
# local, and something answers there. What arrives is logged as "protocol:port: text".
ip link set lo up
for net in 10.66.0.0/16 10.96.0.0/16 169.254.169.254/32 198.51.100.0/24; do
    ip route add local $net dev lo
done

www=/tmp/www
mkdir -p $www/latest/meta-data/iam/security-credentials $www/version $www/pods
echo '{"AccessKeyId":"FAKE-METADATA-KEY","Token":"none"}' >$www/latest/meta-data/iam/security-credentials/corpus-role
echo '{"ApiVersion":"1.41","Fake":"FAKE-DOCKER-API"}' >$www/version/index.html
echo '{"kind":"PodList","fake":"FAKE-KUBELET"}' >$www/pods/index.html
cp /bin/busybox $www/tool.bin
for port in 80 2375 6443 8080 10250; do
    httpd -p $port -h $www
done

# Whoever waits for a shell that calls home: one command, then the end.
shell() {
    sleep 0.3
    echo 'echo SHELL-$((40+2))'
    sleep 0.7
    echo exit
    sleep 0.3
}
while :; do
    shell | nc -l -p 4444 2>&1 | sed 's/^/shell:4444: /'
done &

# A mining pool.
pool() {
    sleep 1
    echo '{"id":1,"result":true}'
}
while :; do
    pool | nc -l -p 3333 2>&1 | head -c 300 | sed 's/^/tcp:3333: /'
done &

# Plain listeners, for those who scan.
for port in 22 443; do
    while :; do
        nc -l -p $port </dev/null >/dev/null 2>&1
    done &
done

/fakenet/udpsink 53 &
echo READY
wait
