#!/bin/sh
set -e
mkdir g
cd g
git init -q -b main .
git config user.email a@b.c
git config user.name n
for i in 1 2 3; do
    echo $i >f$i
    git add .
    git commit -qm c$i
done
git checkout -qb x
echo y >>f1
git commit -qam y
git checkout -q main
git merge -q x
git clone -q . ../g2
[ "$(git -C ../g2 log --oneline | wc -l)" = 4 ]
git gc -q
