/**
 * A program that hands its standard input and output over to us, as sockets. rsync's remote shell is such a program: two
 * processes that copied all of a tree's bytes instead would be a sixth of the work of a large transfer. Only where
 * there is Linux and perl, which is nearly everywhere; the shell script that is meant for elsewhere tells.
 */
import type { ChildProcess } from 'node:child_process'

/** The number of sendmsg; it differs from one kind of processor to another. */
const sendmsg = process.platform === 'linux' ? { x64: 46, arm64: 211 }[process.arch as string] : undefined

/** Whether sockets can be passed by perl here, should there be one. */
export const canPassSockets = sendmsg !== undefined

/**
 * For `perl -e`: SCM_RIGHTS over Node's own channel between processes, in the form that `process.send(fd, socket)` has.
 *
 * Then it ends. rsync looks every 20 ms whether its remote shell has ended (`wait_process_with_flush` of its main.c) and
 * would find that out a fifth of the time of a thousand small files too late. Who passed the sockets on has to know how
 * the other end ended. A child stays until descriptor 4 is closed, so that the number of the process, its group's, is
 * given to no other: rsync signals it when it fails. Where there can't be a child, it stays itself.
 */
export const passingProgram = `
my $pass = sub {
  my ($fd) = @_;
  my $text = qq({"cmd":"NODE_HANDLE","type":"net.Native","msg":$fd}\\n);
  my $vector = pack "P Q", $text, length $text;
  my $rights = pack "Q i i i x4", 20, 1, 1, $fd;
  my $message = pack "Q L x4 P Q P Q i x4", 0, 0, $vector, 1, $rights, length $rights, 0;
  return syscall(${sendmsg}, $ENV{NODE_CHANNEL_FD} + 0, $message, 0) > 0;
};
open my $status, "<&=", 4 or exit 255;
$pass->(0) && $pass->(1) or exit 255;
setpgrp 0, 0;
my $child = fork;
exit 0 if $child;
close STDIN;
close STDOUT;
my $code = <$status>;
exit(defined $code ? $code : 255);
`

/** What Node has of a socket, below its streams. */
export interface Handle {
  reading?: boolean
  readStop?(): void
  useUserBuffer?: unknown
  close(): void
}

/** The standard input and output of what `child` has started. Rejects where its channel ends before both are here. */
export function passedSockets(child: ChildProcess): Promise<[input: Handle, output: Handle]> {
  const passed = new Promise<[Handle, Handle]>((resolve, reject) => {
    const handles: (Handle | undefined)[] = []
    child.on('message', (fd, handle) => {
      handles[Number(fd)] = handle as Handle | undefined
      const [input, output] = handles
      if (input && output) resolve([input, output])
    })
    child.once('disconnect', () => reject(new Error('rsync ended before it connected')))
  })
  passed.catch(() => {})
  return passed
}
