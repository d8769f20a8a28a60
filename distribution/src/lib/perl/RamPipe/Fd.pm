package RamPipe::Fd;

# An open descriptor, closed when nobody has it any more. Printed, it says what it
# was opened as.

use strict;
use warnings;
use overload '""' => sub { RamPipe::Text::shown($_[0]{name}) }, bool => sub { 1 }, fallback => 1;
use RamPipe::Text ();

my $close = 0;

sub new {
    my ($class, $number, $name) = @_;
    return bless { number => $number, name => $name }, $class;
}

# The number of close(2), which differs between architectures.
sub closes_with { $close = $_[0]; return }

# A path that leads to what is open, however it is called by now.
sub magic_path { return "/proc/self/fd/$_[0]{number}" }

sub close {
    my $self = shift;
    return if !defined $self->{number};
    local $!;
    syscall($close, $self->{number} + 0);
    delete $self->{number};
    return;
}

sub DESTROY {
    my $self = shift;
    local ($@, $!);
    $self->close if $close;
    return;
}

1;
