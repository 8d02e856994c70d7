#!/usr/bin/perl
# Sends commands to OpenVPN's management socket and prints the answers.
# Protocol: an answer ends with END, SUCCESS: or ERROR:; lines that begin with > are news
# (OpenVPN's management-notes.txt).
use strict;
use warnings;
use IO::Socket::UNIX;

$SIG{ALRM} = sub { die "no answer from OpenVPN within 4 seconds\n" };
alarm 4;
my $socket = IO::Socket::UNIX->new(Peer => "/run/macnet/management.sock")
    or die "OpenVPN's management socket does not answer: $!\n";
for my $command (@ARGV) {
    print $socket "$command\n";
    $socket->flush;
    while (defined(my $line = <$socket>)) {
        $line =~ s/\r?\n$//;
        next if $line =~ /^>/;
        print "$line\n";
        last if $line =~ /^(END|SUCCESS:.*|ERROR:.*)$/;
    }
}
print $socket "quit\n";
