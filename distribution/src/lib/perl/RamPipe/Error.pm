package RamPipe::Error;

# What this program throws. A message names the thing, what is wrong with it, and
# where possible what to do. Kinds:
#   system   a system call failed; has an error number
#   damaged  a redo log or pin record is not what had been written
#   moving   what is being copied changed meanwhile: try again
#   busy     a mount is in use
#   refused  everything else

use strict;
use warnings;
use overload '""' => sub { $_[0]{message} }, bool => sub { 1 }, fallback => 1;

sub new {
    my ($class, $kind, $message, $errno) = @_;
    return bless { kind => $kind, message => $message, errno => $errno || 0 }, $class;
}

sub throw {
    my ($class, @rest) = @_;
    die $class->new(@rest);
}

sub damaged { RamPipe::Error->throw('damaged', $_[0]) }
sub moving  { RamPipe::Error->throw('moving',  $_[0]) }
sub busy    { RamPipe::Error->throw('busy',    $_[0]) }
sub refused { RamPipe::Error->throw('refused', $_[0]) }

# Whether that, thrown by anyone, is of this kind.
sub is {
    my ($thrown, $kind) = @_;
    return ref $thrown && $thrown->isa('RamPipe::Error') && $thrown->{kind} eq $kind;
}

# Whether that, thrown by anyone, is a system call's failure with one of these
# numbers; with none given, any.
sub failed {
    my ($thrown, @numbers) = @_;
    return 0 if !is($thrown, 'system');
    return 1 if !@numbers;
    return scalar grep { $_ == $thrown->{errno} } @numbers;
}

1;
