"""copy_blocks.py SOURCE TARGET: makes TARGET the same bytes as SOURCE, writing only the blocks that differ, and prints
how many bytes it wrote. Both are read to the end, so that afterwards they are known to be the same."""
import os
import sys

BLOCK = 1 << 18


def main(source, target):
    written = 0
    with open(source, 'rb', buffering=0) as reader:
        fd = os.open(target, os.O_RDWR | os.O_CREAT, 0o600)
        os.fchmod(fd, os.fstat(reader.fileno()).st_mode & 0o777)
        wanted, found = bytearray(BLOCK), bytearray(BLOCK)
        offset = 0
        while True:
            length = reader.readinto(wanted)
            if not length:
                break
            there = os.preadv(fd, [found], offset)
            if there < length or memoryview(found)[:length] != memoryview(wanted)[:length]:
                put(fd, memoryview(wanted)[:length], offset)
                written += length
            offset += length
        os.ftruncate(fd, offset)
        os.fsync(fd)
        os.close(fd)
    print(written)


def put(fd, data, offset):
    while data:
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2])
